"""A tenant that lives on several sites has a series of numbers at each."""

import ostoja.party.numbers
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('party', '0006_a_series_for_each_site'),
        ('sales', '0007_fewer_indexes'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='deal',
            name='deal_takes_a_number',
        ),
        migrations.AddConstraint(
            model_name='deal',
            constraint=ostoja.party.numbers.Numbered('sales.deal', 'D-', digits=6, name='deal_takes_a_number', table='sales_deal'),
        ),
    ]
