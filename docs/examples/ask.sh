#!/bin/sh
# One call with curl. NBA: address of the service; NBA_KEY: a key, where the service wants one.
set -eu
NBA=${NBA:-http://localhost:8000}
ask() { curl -sS --fail-with-body -H 'Content-Type: application/json' ${NBA_KEY:+-H "Authorization: Bearer $NBA_KEY"} "$@"; echo; }

ask "$NBA/v1/customers/c-7" -X PUT -d '{"salutation": "Ms.", "family_name": "Adler", "plan": "l-40", "tenure_months": 20}'
ask "$NBA/v1/activity" -d '{"events": [
  {"event_id": "e-1", "customer_id": "c-7", "at": "'"$(date -u +%Y-%m-%dT%H:%M:%SZ)"'", "channel": "app", "type": "page_viewed", "subject": "plans"}]}'
ask "$NBA/v1/recommend" -d '{"customer_id": "c-7", "interaction_id": "call-7", "context": {"intent": "technical"}}'
