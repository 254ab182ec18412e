"""What segzs does with hostile input, faults of the machine and load. Each module is a command."""
