"""The files of a version of a model, as the registry takes them."""

from __future__ import annotations

import hashlib
import json

from models.schema import Schema


def version_files(model: bytes = b"onnx", schema: Schema | None = None, *, passed: bool = True) -> dict[str, bytes]:
    """A model, a schema and a certificate for this model, which has `passed` or not."""
    certificate = {"passed": passed, "onnx_sha256": hashlib.sha256(model).hexdigest()}
    return {
        "model.onnx": model,
        "schema.json": b"{}" if schema is None else json.dumps(schema.as_json()).encode(),
        "certificate.json": json.dumps(certificate).encode(),
    }
