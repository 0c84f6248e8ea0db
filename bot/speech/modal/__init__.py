"""The speech backend on Modal: calls of the class that deploy_backend.py deploys."""
