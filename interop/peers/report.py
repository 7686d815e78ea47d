"""How every suite tells what happened: one line a case, then the count that ./test adds up."""

import sys
import time


class Report:
    """Collects PASS, FAIL and SKIP and ends with `N passed, N failed, N skipped`."""

    def __init__(self, suite):
        self.suite = suite
        self.passed = self.failed = self.skipped = 0
        self.began = time.monotonic()

    def passes(self, case, detail=""):
        self.passed += 1
        self._line("PASS", case, detail)

    def fails(self, case, detail=""):
        self.failed += 1
        self._line("FAIL", case, detail)

    def skips(self, case, reason):
        self.skipped += 1
        self._line("SKIP", case, reason)

    def check(self, case, good, detail=""):
        """A case that holds or does not; `detail` is shown either way."""
        (self.passes if good else self.fails)(case, detail)
        return good

    def tell(self, text):
        """Something that happened just now, with the seconds since the suite began."""
        print(f"{time.monotonic() - self.began:7.2f} s  {text}", flush=True)

    def finish(self):
        """Prints the count; the exit status is 1 if anything failed."""
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        sys.exit(1 if self.failed else 0)

    def _line(self, verdict, case, detail):
        # One write for the line and its end: cases that run side by side must not share a line.
        sys.stdout.write(f"{verdict} {self.suite}: {case}" + (f" ({detail})" if detail else "") + "\n")
        sys.stdout.flush()
