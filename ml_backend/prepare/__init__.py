"""From folders of clips, in the layouts that data sets have, to motion shards."""
