// On a telephone the pages' names stand in one line that scrolls: it begins where the reader is.
(function () {
  "use strict";
  const here = document.querySelector(".nav [aria-current]");
  const line = here && here.closest("ul");
  if (line) line.scrollLeft = here.offsetLeft - (line.clientWidth - here.offsetWidth) / 2;
})();
