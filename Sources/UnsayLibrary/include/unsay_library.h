/* Empty: a C target needs a header folder. */
