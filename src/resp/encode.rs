//! Writing RESP: replies of our own, and requests to backends.
