"""The REST API over FastAPI: `create_app` in `app.py`."""
