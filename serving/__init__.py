"""Say it inside the call: the use case, the HTTP service, the journal of decisions."""
