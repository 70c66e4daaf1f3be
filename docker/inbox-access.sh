#!/bin/sh
# Lets the landing task read and take out what people drop into the inbox, whoever they are on the host: their files
# keep their owner, get the containers' group (10001), and their folders become writable for it. Runs as root with no
# more than the capabilities that chgrp and chmod need, and no network.
set -eu
inbox=/var/lib/cuvee/data/inbox
# Docker makes a missing ./data/inbox as root; it is for the owner of the checkout, who also owns ./data/wine.
if [ "$(stat -c %u "$inbox")" = 0 ]; then chown --reference=/var/lib/cuvee/data/wine "$inbox"; fi
while :; do
  find "$inbox" -type d \( ! -group 10001 -o ! -perm -2070 \) -exec chgrp 10001 {} + -exec chmod g+rwxs {} + || :
  find "$inbox" -type f \( ! -group 10001 -o ! -perm -0040 \) -exec chgrp 10001 {} + -exec chmod g+r {} + || :
  sleep 1
done
