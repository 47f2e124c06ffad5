"""A site says where browsers find it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("hybrid", "0004_keys_and_conflicts")]

    operations = [
        migrations.AddField(
            model_name="site",
            name="browser_url",
            field=models.CharField(blank=True, default="", max_length=300, verbose_name="address for browsers"),
        ),
    ]
