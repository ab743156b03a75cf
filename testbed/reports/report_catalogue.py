"""All kinds of reports: six of BGP, six of 5G."""

from testbed.reports.cell_reports import CELL_KPI
from testbed.reports.drive_reports import DRIVE_TEST_PART
from testbed.reports.handover_reports import PHONE_HANDOVERS
from testbed.reports.origin_reports import NEW_ORIGIN
from testbed.reports.outage_reports import ROUTE_LOSS
from testbed.reports.path_reports import PATH_CHANGE
from testbed.reports.peer_reports import PEER_UPDATES
from testbed.reports.ranking_reports import CELL_RANKING
from testbed.reports.session_reports import DEVICE_SESSIONS
from testbed.reports.slice_reports import SLICE_HOUR
from testbed.reports.update_reports import PREFIX_UPDATES
from testbed.reports.upstream_reports import AS_UPSTREAMS

KINDS = (
    PREFIX_UPDATES,
    PEER_UPDATES,
    PATH_CHANGE,
    AS_UPSTREAMS,
    NEW_ORIGIN,
    ROUTE_LOSS,
    CELL_KPI,
    CELL_RANKING,
    DRIVE_TEST_PART,
    PHONE_HANDOVERS,
    SLICE_HOUR,
    DEVICE_SESSIONS,
)
