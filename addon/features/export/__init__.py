"""A character to other programs: glTF, FBX, USD, Live Link Face CSV, Performance."""
