"""Delivery of events to the webhook endpoints of applications."""
