"""Real peers, started, watched and stopped for the tests in interop/. Standard library only."""
