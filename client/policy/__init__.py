"""What a hospital allows: its own `site.yaml`, one small rule for each thing it limits, and the dry run of both."""
