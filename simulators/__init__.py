"""A community that does not exist, whose devices speak the real wire protocols on real sockets."""
