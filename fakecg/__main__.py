"""``python -m fakecg``."""

from fakecg.cli.main import main

raise SystemExit(main())
