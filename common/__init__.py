"""What the four roles share: words, messages, settings and the few sockets. Imports none of them."""
