"""Facts and changes as records and Arrow tables, their dates, and the facts that hold on a day."""
