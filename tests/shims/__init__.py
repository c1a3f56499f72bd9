"""What tests need to pretend; never shipped."""
