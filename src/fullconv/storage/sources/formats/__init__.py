"""One module for each family of formats: from an open file to stored pixels."""
