"""From a link that dies to a file that stays; and from files to what a request can carry."""
