// What the console does where scripts run. All pages work without it.
"use strict";
