"""A tenant that lives on several sites has a series of numbers at each."""

import ostoja.party.numbers
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('party', '0005_fewer_indexes'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='party',
            name='party_takes_a_number',
        ),
        migrations.AddConstraint(
            model_name='party',
            constraint=ostoja.party.numbers.Numbered('party.party', 'P-', digits=6, name='party_takes_a_number', table='party_party'),
        ),
    ]
