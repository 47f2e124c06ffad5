"""Rules of deals in the database's own language: numbers, stages, amounts from lines, the history of stages."""

# A deal without a number takes the next of its series from the counter row.
NUMBER = """
IF coalesce(NEW.number, '') = '' THEN
  DECLARE given bigint;
  BEGIN
    INSERT INTO party_counter (id, code, value) VALUES (gen_random_uuid(), 'sales.deal', 1)
    ON CONFLICT (code) DO UPDATE SET value = party_counter.value + 1 RETURNING value INTO given;
    NEW.number := 'D-' || lpad(given::text, 6, '0');
  END;
END IF;
RETURN NEW;
"""

# The pipeline is the stage's; an open deal stands in an open stage, a won one in a won stage; closed_at iff closed (CRM-3);
# an amount that is not given is the sum of the lines (CRM-2).
STAGE = """
DECLARE kind_of_stage text; total numeric;
BEGIN
  SELECT s.kind, s.pipeline_id INTO kind_of_stage, NEW.pipeline_id FROM sales_stage s WHERE s.id = NEW.stage_id;
  IF kind_of_stage IS DISTINCT FROM NEW.state THEN {refuse} END IF;
  IF NEW.state = 'open' THEN NEW.closed_at := NULL;
  ELSIF NEW.closed_at IS NULL THEN NEW.closed_at := now(); END IF;
  IF TG_OP = 'INSERT' THEN
    SELECT sum(l.net) INTO total FROM sales_dealline l WHERE l.deal_id = NEW.id;
    IF total IS NOT NULL THEN NEW.amount := total; END IF;
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

# CRM-4: intervals of stages are contiguous, do not overlap, and the first begins with the deal.
HISTORY = """
DECLARE moment timestamptz := now();
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO sales_stagechange (id, deal_id, stage_id, state, entered_at, amount, actor)
    VALUES (gen_random_uuid(), NEW.id, NEW.stage_id, NEW.state, moment, NEW.amount, current_setting('ostoja.actor', true));
  ELSIF NEW.stage_id IS DISTINCT FROM OLD.stage_id THEN
    UPDATE sales_stagechange SET left_at = moment WHERE deal_id = NEW.id AND left_at IS NULL;
    INSERT INTO sales_stagechange (id, deal_id, stage_id, from_stage_id, state, entered_at, amount, actor)
    VALUES (gen_random_uuid(), NEW.id, NEW.stage_id, OLD.stage_id, NEW.state, moment, NEW.amount, current_setting('ostoja.actor', true));
  END IF;
END;
RETURN NULL;
"""

# CRM-2: net of a line is rounded first, half up to 2 decimals; the deal's amount is their sum.
NET = """
NEW.net := round(NEW.quantity * NEW.price * (1 - NEW.discount / 100), 2);
RETURN NEW;
"""

AMOUNT = """
DECLARE deal uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.deal_id ELSE NEW.deal_id END; total numeric;
BEGIN
  SELECT coalesce(sum(l.net), 0) INTO total FROM sales_dealline l WHERE l.deal_id = deal;
  UPDATE sales_deal SET amount = total WHERE id = deal AND amount IS DISTINCT FROM total;
  IF TG_OP = 'UPDATE' AND OLD.deal_id <> NEW.deal_id THEN
    UPDATE sales_deal SET amount = (SELECT coalesce(sum(l.net), 0) FROM sales_dealline l WHERE l.deal_id = OLD.deal_id) WHERE id = OLD.deal_id;
  END IF;
END;
RETURN NULL;
"""
