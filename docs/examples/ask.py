"""One call with the Python client: ask, say, report. Usage: python docs/examples/ask.py [URL]"""

import sys
from datetime import UTC, datetime

from serving.client import Client

url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"
with Client(url, deadline_s=2.0) as nba:
    nba.put_customer("c-8", {"salutation": "Mr.", "family_name": "Brandt", "plan": "m-20", "tenure_months": 9})
    now = datetime.now(UTC).isoformat()
    nba.activity([{"event_id": "e-8", "customer_id": "c-8", "at": now, "channel": "network", "type": "call_dropped"}])
    answer = nba.recommend("c-8", interaction_id="call-8", context={"intent": "technical"})
    for suggestion in answer["suggestions"][:1]:
        print(suggestion["say"])
        nba.outcome(answer["decision_id"], suggestion["offer_id"], "spoken")
