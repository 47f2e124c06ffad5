from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('documents', '0004_bytes_may_come_later'),
    ]

    operations = [
        migrations.AlterField(
            model_name='activityfile',
            name='key',
            field=models.CharField(editable=False, max_length=120, verbose_name='place of the content'),
        ),
        migrations.AlterField(
            model_name='dealfile',
            name='key',
            field=models.CharField(editable=False, max_length=120, verbose_name='place of the content'),
        ),
        migrations.AlterField(
            model_name='partyfile',
            name='key',
            field=models.CharField(editable=False, max_length=120, verbose_name='place of the content'),
        ),
        migrations.AlterField(
            model_name='productfile',
            name='key',
            field=models.CharField(editable=False, max_length=120, verbose_name='place of the content'),
        ),
    ]
