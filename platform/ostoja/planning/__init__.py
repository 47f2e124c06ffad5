"""Planning: activities (calls, SMS, e-mails, meetings, notes, tasks) and the calendar that all modules share."""
