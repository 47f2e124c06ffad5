from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('party', '0006_a_series_for_each_site'),
    ]

    operations = [
        migrations.AlterField(
            model_name='contactpoint',
            name='value_normalised',
            field=models.CharField(editable=False, max_length=254, verbose_name='value for comparing'),
        ),
    ]
