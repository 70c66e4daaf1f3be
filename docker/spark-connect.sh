#!/bin/sh
# The Spark Connect server: the one driver that every task attaches to, in front of the standalone cluster.
set -eu
exec "$SPARK_HOME/bin/spark-submit" --master spark://spark-master:7077 \
  --driver-memory "$SPARK_DRIVER_MEMORY" \
  --conf spark.executor.memory="$SPARK_EXECUTOR_MEMORY" \
  --conf spark.executorEnv.OMP_NUM_THREADS=1 \
  --conf spark.connect.grpc.binding.address=0.0.0.0 \
  --conf spark.connect.grpc.binding.port=15002 \
  --conf spark.driver.bindAddress=0.0.0.0 \
  --conf spark.driver.host=spark-connect \
  --conf spark.ui.enabled=false \
  --conf spark.connect.session.manager.defaultSessionTimeout=24h \
  --conf spark.python.daemon.module=spark_jobs.daemon \
  --conf spark.sql.shuffle.partitions=4 \
  --conf spark.sql.warehouse.dir=/var/lib/cuvee/data/spark/warehouse \
  --class org.apache.spark.sql.connect.service.SparkConnectServer \
  "$SPARK_HOME"/jars/spark-connect_*.jar
