"""What was said: the Merkle tree, audit logs, the heads that each side holds of the other, the signed manifest."""
