"""The backend's installation and its check, in the add-on's preferences."""
