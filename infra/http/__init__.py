"""HTTP: a polite client, robots.txt, request rates, addresses that may be asked, bounded bodies."""
