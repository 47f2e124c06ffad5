"""CRM: marketing, sales and customer service."""
