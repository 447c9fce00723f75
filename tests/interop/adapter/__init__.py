"""Our side of River's conformance contract: ``python -m tests.interop.adapter`` answers it over stdin and stdout.

It stands on the public API of ``rivermill`` and the test seam ``Hook.jobs_claimed``, so what it can do the library can.
"""
