"""What the two services and the pipelines share: settings, errors, database, keys, promotion, the local stack."""
