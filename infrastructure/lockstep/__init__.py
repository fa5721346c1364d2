"""The engine in lockstep, for the SDK's test kit: it acts on a command, runs until nothing is ready, and stops.

It is the real engine on the memory adapters and on virtual time. Only commands let time pass, so a day of waiting
takes as long as a second, and the same commands give the same run (ADR 34).
"""
