"""What the customer would accept: rows, learnt, calibrated, exported to ONNX and scored."""
