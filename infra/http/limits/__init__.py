"""When a host may be asked: rate limits, robots.txt, and which hosts are at fault."""
