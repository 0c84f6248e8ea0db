"""Speech by the class that deploy_backend.py puts on Modal."""
