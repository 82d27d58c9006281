"""The mix screen: models side by side over one story."""
