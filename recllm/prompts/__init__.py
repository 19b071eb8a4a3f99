"""How an item and a history become text: templates and tasks."""
