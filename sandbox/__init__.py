"""Stateful simulators of the payment providers, speaking their wire format to the real SDKs.

A program, not a mock: it imports nothing of the engine, so it cannot agree with the engine's mistakes.
"""
