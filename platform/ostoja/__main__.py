"""``python -m ostoja`` is the ``ostoja`` command."""

from ostoja.cli import main

main()
