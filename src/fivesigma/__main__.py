"""``python -m fivesigma`` is the command."""

from fivesigma.cli import main

if __name__ == "__main__":
    main()
