"""Rules of deals in the database's own language: stages, amounts from lines, the history of stages."""

from ostoja.kernel.ids import UUID7_SQL

# Stage and state are one: the pipeline is the stage's; a deal whose state is set goes to the first stage of that kind in its
# pipeline; a new deal takes the state of its stage. closed_at is there iff the deal is closed (CRM-3), a reason of loss only
# with a loss. The name sorts behind the deal's other rules: whether the step is allowed and the deal not frozen was asked before.
STAGE = """
DECLARE kind_of_stage text; total numeric;
BEGIN
  IF NEW.stage_id IS NULL
     OR TG_OP = 'UPDATE' AND NEW.state IS DISTINCT FROM OLD.state AND NEW.stage_id IS NOT DISTINCT FROM OLD.stage_id THEN
    SELECT s.id INTO NEW.stage_id FROM sales_stage s JOIN sales_pipeline p ON p.id = s.pipeline_id
    WHERE s.kind = NEW.state AND (NEW.pipeline_id IS NULL OR p.id = NEW.pipeline_id)
    ORDER BY p.position, p.name, s.position, s.id LIMIT 1;
  END IF;
  SELECT s.kind, s.pipeline_id INTO kind_of_stage, NEW.pipeline_id FROM sales_stage s WHERE s.id = NEW.stage_id;
  IF TG_OP = 'INSERT' AND NEW.state = 'open' THEN NEW.state := coalesce(kind_of_stage, 'open'); END IF;
  IF kind_of_stage IS DISTINCT FROM NEW.state THEN {refuse} END IF;
  IF NEW.state = 'open' THEN NEW.closed_at := NULL;
  ELSIF NEW.closed_at IS NULL THEN NEW.closed_at := clock_timestamp(); END IF;
  IF NEW.state <> 'lost' THEN NEW.lost_reason_id := NULL; END IF;
  IF TG_OP = 'INSERT' THEN
    SELECT sum(l.net) INTO total FROM sales_dealline l WHERE l.deal_id = NEW.id;
    NEW.amount := coalesce(total, NEW.amount, 0);
  END IF;
  IF coalesce(NEW.title, '') = '' THEN
    SELECT p.name INTO NEW.title FROM party_party p WHERE p.id = NEW.party_id;
    NEW.title := coalesce(NEW.title, NEW.number);
  END IF;
END;
RETURN NEW;
"""

# CRM-2: where there are lines, no other amount can be typed.
TOTAL = """
DECLARE total numeric;
BEGIN
  IF NEW.amount IS DISTINCT FROM OLD.amount THEN
    SELECT sum(l.net) INTO total FROM sales_dealline l WHERE l.deal_id = NEW.id;
    IF total IS NOT NULL AND NEW.amount <> total THEN {refuse} END IF;
  END IF;
END;
RETURN NEW;
"""

# CRM-4: intervals of stages are contiguous and do not overlap, and the first begins with the deal. Who waited for the row's
# lock began earlier than the change it follows; its step is later all the same.
HISTORY = """
DECLARE moment timestamptz; who text := coalesce(current_setting('ostoja.actor', true), '');
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO sales_stagechange (id, created_at, updated_at, version, deal_id, stage_id, state, entered_at, amount, actor)
    VALUES ({new_id}, NEW.created_at, NEW.created_at, 1, NEW.id, NEW.stage_id, NEW.state, NEW.created_at, NEW.amount, who);
  ELSIF NEW.stage_id IS DISTINCT FROM OLD.stage_id THEN
    UPDATE sales_stagechange SET left_at = greatest(clock_timestamp(), entered_at) WHERE deal_id = NEW.id AND left_at IS NULL
    RETURNING left_at INTO moment;
    INSERT INTO sales_stagechange
      (id, created_at, updated_at, version, deal_id, stage_id, from_stage_id, state, entered_at, amount, actor)
    VALUES ({new_id}, moment, moment, 1, NEW.id, NEW.stage_id, OLD.stage_id, NEW.state, moment, NEW.amount, who);
  END IF;
END;
RETURN NULL;
""".replace("{new_id}", UUID7_SQL)

# CRM-2: net of a line is rounded first, half up to 2 decimals; the deal's amount is their sum.
NET = """
NEW.net := round(NEW.quantity * NEW.price * (1 - NEW.discount / 100), 2);
RETURN NEW;
"""

# The amount follows the lines; when the last of them goes, the deal keeps the amount that it had. The deal is locked before
# its lines are summed, so that of two who add lines at once the second counts the first one's too.
AMOUNT = """
BEGIN
  PERFORM 1 FROM sales_deal WHERE id IN (CASE WHEN TG_OP <> 'INSERT' THEN OLD.deal_id END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.deal_id END)
  ORDER BY id FOR NO KEY UPDATE;
  IF TG_OP <> 'INSERT' THEN
    UPDATE sales_deal d SET amount = s.total FROM (SELECT sum(net) AS total FROM sales_dealline WHERE deal_id = OLD.deal_id) s
    WHERE d.id = OLD.deal_id AND s.total IS NOT NULL AND d.amount <> s.total;
  END IF;
  IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND NEW.deal_id <> OLD.deal_id THEN
    UPDATE sales_deal d SET amount = s.total FROM (SELECT sum(net) AS total FROM sales_dealline WHERE deal_id = NEW.deal_id) s
    WHERE d.id = NEW.deal_id AND s.total IS NOT NULL AND d.amount <> s.total;
  END IF;
END;
RETURN NULL;
"""
