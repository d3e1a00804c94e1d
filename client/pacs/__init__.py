"""From a hospital's picture archive (PACS) into a folder of studies: find, fetch, pair with reports, resume."""
