"""What Airflow needs from us: event triggers, links and views. An installed package, found by entry point."""
