"""What the customer did: activity, packed in Redis, read as one vector."""
