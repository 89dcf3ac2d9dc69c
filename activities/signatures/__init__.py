"""The activities as workflows see them: names and types, no code behind them. One module per family.

Provider calls run on the queue of their provider, one remote activity each. Local activities run
inside the workflow's own worker: database writes, one transaction per step.
"""
